"""The public package: what a service of one's own, its tests and its callers stand on. Imports nothing else of ours."""
