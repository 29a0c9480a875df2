from framework import find_tasks_in_project

imports = find_tasks_in_project("shop")
