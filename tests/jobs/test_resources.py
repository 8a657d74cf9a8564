"""What is asked of a batch system: nothing in it can become a command."""

import pytest
from pydantic import ValidationError

from hypercover.errors import CallError
from hypercover.jobs.resources import (
    JobResources,
    check_directives,
    format_time,
    parse_time,
)


def test_wishes_come_back_from_their_file():
    resources = JobResources(
        partition="main",
        account="lp_x",
        time="2h",
        memory="4GiB",
        gpus=1,
        modules=["cuda/12"],
        directives=["--constraint=k40"],
        array_chunk=3,
    )
    assert (resources.time, resources.memory) == (7200, 2**32)
    assert JobResources.model_validate(resources.model_dump(mode="json")) == resources


def test_memory_can_be_left_to_the_site():
    resources = JobResources(memory="none", gpu_memory="none", memory_per_cpu="1GiB")
    assert JobResources.model_validate(resources.model_dump(mode="json")) == resources
    assert (resources.memory, resources.memory_per_cpu) == (0, 2**30)


@pytest.mark.parametrize(
    "wish",
    [
        {"partition": "main\n#SBATCH --account=x"},
        {"partition": "$(reboot)"},
        {"account": "-x"},
        {"modules": ["cuda; rm -rf /"]},
        {"directives": ["--a=b\nrm -rf /"]},
        {"directives": ["rm"]},
        {"time": 90},
        {"time": "0"},
        {"time": "soon"},
        {"time": "30 s"},
        {"time": "2:30"},
        {"time": "9999999"},
        {"directives": ["-" * 201]},
        {"memory": "4"},
        {"memory": "1kB"},
        {"memory": "4GiB", "memory_per_cpu": "1GiB"},
        {"memory_per_cpu": "none"},
        {"gpu_partition": "a b"},
        {"gpu_cpus": 0},
        {"cpus": 0},
        {"gpus": -1},
        {"nodes": 10**9},
        {"unknown": 1},
    ],
)
def test_what_is_no_wish_is_refused(wish):
    with pytest.raises(ValidationError):
        JobResources.model_validate(wish)


@pytest.mark.parametrize("seconds", [60, 3599, 3600, 86_399, 360_000])
def test_times_come_back_as_they_were_written(seconds):
    assert parse_time(format_time(seconds)) == seconds


@pytest.mark.parametrize(
    "directive",
    [
        "--constraint=k80",
        "--qos long",
        "-l walltime=1:00:00",
        "-W group_list=lab",
        "-h",
        "--exclusive",
        "-C k80",
        "--mail-user=a@b.org",
        "-r y",
    ],
)
def test_resources_are_taken_from_a_file(directive):
    check_directives([directive], "the file")


@pytest.mark.parametrize(
    "directive",
    [
        "-S /tmp/shell",
        "--output=/home/me/.bashrc",
        "-o x",
        "-e x",
        "--chdir=/",
        "--wrap=reboot",
        "--prolog=/x",
        "--export=ALL,LD_PRELOAD=/x.so",
        "-v PATH=/x",
        "-V",
        "--get-user-env",
        "-W stagein=a@b:c",
        "-W umask=0",
        "--bcast=/x",
        "-D /",
        "-d /",
        "--error=x",
        "--constraint=k80 --output=/x",
        "-l /x",
        "--uid=0",
    ],
)
def test_a_directive_that_names_programs_or_files_is_not(directive):
    with pytest.raises(CallError, match=r"the file holds the directive .* repeat it"):
        check_directives([directive], "the file")
