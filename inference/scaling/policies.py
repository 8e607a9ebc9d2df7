"""The policies by name. A new one is a file beside these and a line here."""

from collections.abc import Mapping

from inference.scaling.model import Policy
from inference.scaling.policy_slo_drain import SloDrain
from inference.scaling.policy_thresholds import Thresholds

POLICIES: Mapping[str, Policy] = {"slo_drain": SloDrain(), "thresholds": Thresholds()}
