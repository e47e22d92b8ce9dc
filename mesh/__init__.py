"""The pure core: everything about the mesh that can be decided without a cloud.

Settings come in, plain frozen data goes out. Nothing here imports Pulumi or a cloud SDK.
"""
