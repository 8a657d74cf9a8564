from .window_file import WindowFile as WindowFile
from .windows import Windows as Windows
