"""What bench/vs_ray and bench/vs_peers share: measuring, environments, tables, plots and the history."""
