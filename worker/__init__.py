"""The worker process of Weightloom: the merge engine, the job's steps and the command line."""
