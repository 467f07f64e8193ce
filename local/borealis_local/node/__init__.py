"""The process kubelet: pods as local processes on fake nodes."""
