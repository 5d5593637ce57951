"""Makes every folder of modules/ importable as ``nlphub.zoo.<name>``, in a checkout and in a wheel alike.

Setting ``__path__`` turns this file into a package whose children live elsewhere, so pickling, ``inspect.getsource``, tracebacks and
worker processes see ordinary modules. Who may be imported is decided in :mod:`nlphub.hub.zoo`.
"""

from nlphub.paths import bundle

__path__ = [str(bundle() / "modules")]
