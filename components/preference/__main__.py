from components.common.standalone import main

main("preference")
