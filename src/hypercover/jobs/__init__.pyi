from .dask_executor import DaskExecutor as DaskExecutor
from .executor import InProcessExecutor as InProcessExecutor
from .local import LocalExecutor as LocalExecutor
