"""The fixtures of these tests are shared with other folders."""

from run_fixtures import *  # noqa: F403
