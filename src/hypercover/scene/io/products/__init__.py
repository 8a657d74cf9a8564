"""Images as space agencies deliver them: several files, or named parts of one."""
