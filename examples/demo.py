"""The main job in one minute, as `memollm demo` shows it."""

from memollm.cli.demo_program import main

if __name__ == "__main__":
    main()
