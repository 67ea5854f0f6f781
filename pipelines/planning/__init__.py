"""What a run would take: the graph walked, tokens and FLOPs estimated, hours and costs from stated assumptions."""
