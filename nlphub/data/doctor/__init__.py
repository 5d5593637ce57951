"""The data doctor: what is wrong with labelled texts before a module learns it, and a recipe to begin with. numpy only.

``examine`` looks at splits and gives findings; ``describe`` gives a profile; ``starter_recipe`` writes the values of a first run. The
commands are ``nlphub doctor FILE`` and ``nlphub init FILE``.
"""

from nlphub.data.doctor.examine import Limits, examine
from nlphub.data.doctor.findings import CHECKS, Case, Finding, Row
from nlphub.data.doctor.personal import find_personal, mask_personal
from nlphub.data.doctor.profile import Profile, describe

__all__ = ["CHECKS", "Case", "Finding", "Limits", "Profile", "Row", "describe", "examine", "find_personal", "mask_personal"]
