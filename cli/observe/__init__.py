"""What a running process shows of itself: its log, its metrics, whether it is ready and alive, its traces."""

from cli.observe.process import Process

__all__ = ["Process"]
