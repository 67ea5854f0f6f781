"""What stands behind ``expanse promote``, ``rollback``, ``deploy`` and ``history``."""
