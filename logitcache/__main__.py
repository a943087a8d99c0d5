"""``python -m logitcache`` is the command ``logitcache``."""

from logitcache.cli import main

if __name__ == "__main__":
    main()
