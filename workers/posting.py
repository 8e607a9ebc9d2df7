"""Where the control process may post to: both its couriers, that of webhooks and that of alerts, ask here."""

from inference.core import Core
from inference.errors import StoreUnavailable
from inference.notify import guard


def reach(core: Core) -> tuple[guard.Network, ...]:
    """Asked at every attempt: a key that is made closes the system at once."""
    try:
        is_open = not core.door.is_closed()
    except StoreUnavailable:
        is_open = False
    return guard.reach(core.settings.notify.allowed_networks, is_open=is_open)
