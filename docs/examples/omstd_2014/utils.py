from pathlib import Path

HERE = Path(__file__).resolve().parent


def find_tasks_in_project(project_root="."):
    """The modules in all folders called tasks."""
    files = sorted((HERE / project_root).glob("**/tasks/*.py"))
    return [".".join(file.relative_to(HERE).with_suffix("").parts) for file in files if file.name != "__init__.py"]
