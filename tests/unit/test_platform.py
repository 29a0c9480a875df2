"""An import on a system that is not supported raises an error with the cause."""

import subprocess
import sys


def test_an_import_on_windows_fails_with_the_cause_and_two_fixes():
    # Given a Python on Windows
    code = "import sys; sys.platform = 'win32'; import framework"

    # When the library is imported
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    # Then the last line names the library, the cause and two fixes
    assert run.returncode == 1
    last_line = run.stderr.splitlines()[-1]
    assert last_line.startswith("ImportError: omstd-framework cannot be imported on Windows: ")
    assert "WSL 2" in last_line
    assert "container" in last_line
