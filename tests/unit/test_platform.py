"""Systems on which the library does not run say so at once."""

import subprocess
import sys


def test_an_import_on_windows_says_why_it_fails_and_what_to_use():
    # Given a Python that says it runs on Windows
    code = "import sys; sys.platform = 'win32'; import framework"

    # When the library is imported
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    # Then the last line names the library, the cause and two ways out
    assert run.returncode == 1
    last_line = run.stderr.splitlines()[-1]
    assert last_line.startswith("ImportError: omstd-framework cannot be imported on Windows: ")
    assert "WSL 2" in last_line
    assert "container" in last_line
