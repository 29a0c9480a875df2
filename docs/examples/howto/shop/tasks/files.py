from pathlib import Path

from framework.celery.celery import celery
from framework.progress import progress


@celery.task(track=True)
def load(folder: str) -> int:
    lines = 0
    files = sorted(Path(folder).iterdir())
    with progress(files, "importing") as step:
        for file in step:
            step.message(file.name)
            for _ in progress(file.read_text().splitlines(), "reading lines"):
                lines += 1
    return lines


@celery.task(track=True)
def upload(name: str, target: str, blocksize: int = 65536) -> None:
    file, size = Path(name), Path(name).stat().st_size
    with file.open("rb") as source, Path(target).open("wb") as copy, progress(total=size, name="uploading") as step:
        while block := source.read(blocksize):
            copy.write(block)
            step.advance(len(block))
