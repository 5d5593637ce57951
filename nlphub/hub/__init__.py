"""Names to folders: the registry of modules, verified downloads, the local store, and the module folders that ship with nlphub."""
