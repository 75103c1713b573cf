"""What hosts see: block devices (loop devices or files), and the data behind them."""
