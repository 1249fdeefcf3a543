"""`noncestr config`: the configuration file."""

import typer

from noncestr.commands.options import ConfigOption, read_config
from noncestr.config.example import example_toml

config_app = typer.Typer(help="The configuration file.", no_args_is_help=True)


@config_app.command("example")
def config_example() -> None:
    """Print a configuration with every key, its meaning and its default."""
    typer.echo(example_toml(), nl=False)


@config_app.command("check")
def config_check(config: ConfigOption = None) -> None:
    """Read the configuration and the environment, and say what is wrong."""
    read_config(config)
    typer.echo("the configuration is fine")
