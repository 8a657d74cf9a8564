"""Jobs: plans of small tasks and who runs them; jobs know no science."""
