"""The parts of `kubernetes.aio` that cpcd uses, and the only place that imports the library."""

from kubernetes.aio.client.api_client import ApiClient
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.client.exceptions import ApiException
from kubernetes.aio.dynamic.client import DynamicClient
from kubernetes.aio.dynamic.exceptions import ResourceNotFoundError

__all__ = [
    "ApiClient",
    "ApiException",
    "Configuration",
    "DynamicClient",
    "ResourceNotFoundError",
]
