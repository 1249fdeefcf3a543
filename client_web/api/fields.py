"""Fields that many answers have, and what an answer is.

Money is integer millisatoshi. A sum of the whole pool may pass 2^53 msat (90,071 BTC), which JavaScript's numbers
round; no single miner's will. Times are Unix milliseconds unless a name says otherwise. Hashrates and work are decimal
strings, since they pass 2^53 every day.
"""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Msat = Annotated[int, Field(description="Millisatoshi.")]
Ms = Annotated[int, Field(description="Unix time in milliseconds; 0 for never.")]
Hashes = Annotated[str, Field(pattern=r"^[0-9]+$", description="Expected hashes, in decimal.")]
Rate = Annotated[str, Field(pattern=r"^[0-9]+$", description="Hashes a second, in decimal.")]
Ppm = Annotated[int, Field(description="Millionths: 1,000,000 is 100 %.")]
Hex = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Npub = Annotated[str, Field(pattern=r"^npub1[02-9ac-hj-np-z]{58}$")]
Next = Annotated[str | None, Field(description="The next page's cursor; null when this was the last.")]


class Strict(BaseModel):
    """An answer with these fields and no other."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Error(Strict):
    """Why there is no answer."""

    error: str
