"""What a run leaves: its folder, figures, comparisons and exports."""
