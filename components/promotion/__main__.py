from components.common.standalone import main

main("promotion")
