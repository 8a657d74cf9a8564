from .data import read_libsvm as read_libsvm
from .data import write_libsvm as write_libsvm
