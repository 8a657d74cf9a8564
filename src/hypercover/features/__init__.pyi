from .chain import Chain as Chain
from .nwfe import NWFE as NWFE
from .profiles import AttributeProfiles as AttributeProfiles
from .spectral_features import KPCA as KPCA
from .spectral_features import MNF as MNF
from .spectral_features import PCA as PCA
