"""Discovery: every module of every task package, under any filename, found without importing anything."""

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from framework.discovery import find_tasks_in_project, source_of
from framework.errors import DiscoveryError, FrameworkWarning

ROOT = Path(__file__).parents[3]


@pytest.fixture
def project(tmp_path, monkeypatch):
    """An empty project folder, current and importable from."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def write(root, *files, text="raise SystemExit('imported')\n"):
    for name in files:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("" if path.name == "__init__.py" else text)


def test_every_module_of_a_task_package_is_found_under_any_filename_and_none_is_imported(project):
    write(project, "shop/__init__.py", "shop/tasks/__init__.py", "shop/tasks/zebra.py", "shop/tasks/mail.py")
    write(project, "shop/models.py")

    assert find_tasks_in_project() == ["shop.tasks.mail", "shop.tasks.zebra"]


@pytest.mark.parametrize("root", ["shop", "./shop", "absolute"])
def test_a_root_may_be_a_package_a_relative_or_an_absolute_folder(project, root):
    write(project, "shop/__init__.py", "shop/tasks/__init__.py", "shop/tasks/mail.py")

    assert find_tasks_in_project(project / "shop" if root == "absolute" else root) == ["shop.tasks.mail"]


def test_an_installed_package_is_found_by_its_name_from_any_folder(project):
    assert "framework.tasks.send_mails" in find_tasks_in_project("framework")


def test_nested_packages_are_searched_and_a_single_tasks_module_counts(project):
    write(project, "shop/__init__.py", "shop/orders/__init__.py", "shop/orders/tasks.py")
    write(project, "shop/tasks/__init__.py", "shop/tasks/eu/__init__.py", "shop/tasks/eu/tax.py")

    assert find_tasks_in_project("shop") == ["shop.orders.tasks", "shop.tasks.eu.tax"]


def test_names_that_are_no_identifiers_are_found(project):
    write(project, "shop/__init__.py", "shop/tasks/__init__.py", "shop/tasks/my-task.py", "shop/tasks/2fa.py")

    assert find_tasks_in_project("shop") == ["shop.tasks.2fa", "shop.tasks.my-task"]


def test_a_filename_with_a_dot_inside_cannot_be_imported_and_is_named_in_a_warning(project):
    write(project, "shop/__init__.py", "shop/tasks/__init__.py", "shop/tasks/old.bak.py")

    with pytest.warns(FrameworkWarning, match=r"old\.bak\.py holds no tasks.*Rename"):
        assert find_tasks_in_project("shop") == []


def test_a_task_package_whose_init_has_code_is_listed_itself(project):
    write(project, "shop/__init__.py", "shop/tasks/mail.py")
    (project / "shop/tasks/__init__.py").write_text('"""Ours."""\nfrom celery import shared_task\n')

    assert find_tasks_in_project("shop") == ["shop.tasks", "shop.tasks.mail"]


def test_folders_that_are_no_packages_and_packages_of_tests_are_passed_over(project):
    write(project, "shop/__init__.py", "shop/tasks/__init__.py", "shop/tasks/mail.py")
    write(project, "build/lib/shop/tasks/__init__.py", "build/lib/shop/tasks/mail.py")
    write(project, "tests/__init__.py", "tests/tasks/__init__.py", "tests/tasks/test_mail.py")
    write(project, ".venv/lib/tasks/__init__.py", ".venv/lib/tasks/celery.py")

    assert find_tasks_in_project() == ["shop.tasks.mail"]


def test_a_symbolic_link_to_a_folder_above_ends_there(project):
    write(project, "shop/__init__.py", "shop/tasks/__init__.py", "shop/tasks/mail.py")
    (project / "shop/tasks/again").symlink_to(project / "shop")

    assert find_tasks_in_project("shop") == ["shop.tasks.mail"]


def test_a_linked_task_package_is_found_under_the_name_it_is_linked_to(project):
    write(project, "common/tax/__init__.py", "common/tax/vat.py", "shop/__init__.py", "shop/tasks/__init__.py")
    (project / "shop/tasks/tax").symlink_to(project / "common/tax")

    assert find_tasks_in_project("shop") == ["shop.tasks.tax.vat"]


@pytest.mark.parametrize("mode", [0o000, 0o111])
def test_an_unreadable_task_package_is_refused_by_name(mode):
    with tempfile.TemporaryDirectory() as folder:  # pytest's own folders are closed to other users
        root = Path(folder)
        root.chmod(0o755)
        write(root, "shop/__init__.py", "shop/tasks/__init__.py", "shop/tasks/mail.py")
        (root / "shop/tasks").chmod(mode)

        said = as_another_user(f"find_tasks_in_project({str(root / 'shop')!r})")

        (root / "shop/tasks").chmod(0o755)
    assert "shop/tasks cannot be read (Permission denied)" in said


def as_another_user(call):
    """What ``call`` prints of its error in a process that is not root, whose eyes modes do not stop."""
    code = f"import os\nfrom framework.discovery import find_tasks_in_project\nos.getuid() or os.setuid(65534)\n{call}"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    return run.stderr


def test_a_root_that_does_not_exist_is_refused_by_name(project):
    with pytest.raises(DiscoveryError, match=r"find_tasks_in_project\('shpo'\): there is no such folder"):
        find_tasks_in_project("shpo")


def test_a_thousand_modules_are_found(project):
    write(project, "shop/__init__.py", "shop/tasks/__init__.py", *(f"shop/tasks/t{n:03}.py" for n in range(1000)))

    assert len(find_tasks_in_project("shop")) == 1000


def test_the_source_of_a_module_is_found_without_importing_its_parents(project):
    write(project, "shop/tasks/my-task.py")
    (project / "shop/__init__.py").write_text("raise SystemExit('imported')")

    assert source_of("shop.tasks.my-task") == project / "shop/tasks/my-task.py"
    assert source_of("shop") == project / "shop/__init__.py"
    assert source_of("shop.nothing") is None
    assert source_of("nothing.at.all") is None
