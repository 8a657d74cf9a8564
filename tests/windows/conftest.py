"""The fixtures of these tests are shared with other folders."""

from field_fixtures import *  # noqa: F403
