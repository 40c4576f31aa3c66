"""The profiles: which documents of the service are imitated, as values.

Profiles differ in data alone. Code asks for a field of a profile, never for its name.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from .catalogue import Catalogue

ProfileName = Literal["openapi-1.0.0", "article-2015", "v2-2.0.0", "ingestion-v1"]
"""What the setting `profile` takes."""
V2_BODY_LIMIT = 1_048_064
"""B6: the largest body in bytes that the v2 documents accept."""


class Profile(NamedTuple):
    """One documented reading of the Postback API."""

    name: str
    """What settings call it."""
    imitates: str
    """The id of the source."""
    hosts: tuple[str, ...] = ()
    """A request to one of them selects the profile if no setting does."""
    refuses_unknown_keys: bool = False
    """A6: an unknown key is refused with 403; otherwise it gets 200 and is rejected later (A5)."""
    strict_transport_security: bool = True
    """W1: the response carries `Strict-Transport-Security`."""
    td1_authorization: bool = False
    """A9, A10: `Authorization: TD1 <key>` authenticates, and decides against the key header."""
    url_interface: bool = True
    """A2, B9, P1 to P10: keys and data may be URL parameters."""
    body_limit: int | None = None
    """B6, I9: the documented limit of the body in bytes, `None` if no document names one."""
    postback: Profile | None = None
    """What the path of the Postback API speaks if the profile is the Data Ingestion API (I1)."""

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods of the event route, for `Allow` (R4)."""
        return ("GET", "POST", "OPTIONS") if self.url_interface else ("POST", "OPTIONS")

    def __str__(self) -> str:
        return self.name


_IN = "in.treasuredata.com"
_RECORDS = "records.in.treasuredata.com"

DEFAULT = Profile(
    "openapi-1.0.0",
    "S1",
    (_IN, *(f"{region}.{_IN}" for region in ("tokyo", "eu01", "ap02", "ap03"))),
)
ARTICLE = Profile("article-2015", "S0", refuses_unknown_keys=True, strict_transport_security=False)
V2 = Profile(
    "v2-2.0.0",
    "V2",
    (*(f"{region}.{_RECORDS}" for region in ("us01", "eu01", "ap01", "ap02", "ap03")), _RECORDS),
    td1_authorization=True,
    url_interface=False,
    body_limit=V2_BODY_LIMIT,
)
INGESTION = V2._replace(name="ingestion-v1", imitates="DI", body_limit=5 * 1024**2, postback=V2)

profiles = Catalogue((DEFAULT, ARTICLE, V2, INGESTION))
"""Every profile, by name: `profiles["article-2015"]`."""

by_host: dict[str, Profile] = {host: row for row in profiles for host in row.hosts}
"""The known hosts of the service and the profile that each of them speaks.

The hosts of `v2-2.0.0` speak `ingestion-v1`, and `v2-2.0.0` at its own path.
"""


def for_host(host: str) -> Profile:
    """Return the profile that a request to `host` selects: that of a known host, or the default."""
    return by_host.get(host.partition(":")[0].rstrip(".").lower(), DEFAULT)
