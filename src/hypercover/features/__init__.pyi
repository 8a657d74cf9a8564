from .chain import Chain as Chain
from .kpca import KPCA as KPCA
from .mnf import MNF as MNF
from .nwfe import NWFE as NWFE
from .pca import PCA as PCA
from .profiles import Profiles as Profiles
