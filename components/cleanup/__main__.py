from components.common.standalone import main

main("cleanup")
