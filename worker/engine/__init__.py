"""The merge engine: a plan and the parents' folders in, checkpoint files out, in constant memory."""
