from .config.experiment_file import load_experiment as load_experiment
from .config.presets import named_scene as named_scene
from .results.leak_gap import leak_gap as leak_gap
from .results.run_comparison import compare_runs as compare_runs
from .run import run_experiment as run_experiment
from .run import run_search as run_search
from .tasks.trial import run_trial as run_trial
from .window_export import write_windows as write_windows
