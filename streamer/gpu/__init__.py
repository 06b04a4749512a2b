"""Pictures that stay in device memory: streams, pools, staging, and the stages that work there."""
