"""A secured Apache Kafka for tests: its listeners, certificates and users, and what a client needs to be let in.

Besides the listener PLAINTEXT, by which nodes and tests do what they like, each node has

* ``SASL``: TLS, and a log-in by SCRAM-SHA-512, SCRAM-SHA-256, PLAIN or OAUTHBEARER;
* ``BRIEF``: the same, but a broker cuts a connection off after BRIEF_MS;
* ``MTLS``: TLS with a certificate of the client.

Who comes by one of these may do only what an ACL allows.
"""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path
from typing import Final

from tests.support.certificates import Authority

SASL: Final = "SASL"
MTLS: Final = "MTLS"
BRIEF: Final = "BRIEF"
LISTENERS: Final = (SASL, BRIEF, MTLS)
BRIEF_MS: Final = 2_000
PASSWORD: Final = "correct-horse-7"
"""Of all users."""
WORKER: Final = "ecounters"
"""The user that workers are."""
OPERATOR: Final = "operator"
"""Who runs commands, and comes by a certificate."""
MECHANISMS: Final = ("SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN", "OAUTHBEARER")
SCRAM_ROUNDS: Final = 4_096
TOKEN_S: Final = 3_600

_MODULES: Final = {
    "scram-sha-512": "org.apache.kafka.common.security.scram.ScramLoginModule required;",
    "scram-sha-256": "org.apache.kafka.common.security.scram.ScramLoginModule required;",
    "plain": f'org.apache.kafka.common.security.plain.PlainLoginModule required user_{WORKER}="{PASSWORD}";',
    "oauthbearer": (
        "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required "
        f'unsecuredLoginStringClaim_sub="{WORKER}";'
    ),
}


class Security:
    """The certificates and users of a cluster; files are below ``folder``. ``ca``: signs all certificates.

    ``trusted``: the user WORKER may do everything.
    """

    def __init__(self, folder: Path, *, trusted: bool = False) -> None:
        self.folder = folder
        self._masters = ["User:ANONYMOUS", *([f"User:{WORKER}"] if trusted else [])]
        authority = Authority(folder)
        self.ca = authority.ca
        self._node = authority.joined("node")
        self.certificate, self.key = authority.signed(WORKER)
        self.certificate_of_operator, self.key_of_operator = authority.signed(OPERATOR)
        self.token = folder / "token"
        self.token.write_text(unsecured_token(WORKER))

    def users_option(self) -> str:
        """The options by which Kafka's formatting makes the users of SCRAM."""
        kinds = [name for name in MECHANISMS if name.startswith("SCRAM")]
        told = f"[name={WORKER},iterations={SCRAM_ROUNDS},password={PASSWORD}]"
        return " ".join(f"--add-scram {kind}={told}" for kind in kinds)

    def broker_settings(self) -> dict[str, object]:
        """The settings of each node."""
        modules = {
            f"listener.name.{listener}.{name}.sasl.jaas.config": module
            for listener in ("sasl", "brief")
            for name, module in _MODULES.items()
        }
        return {
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": ";".join(self._masters),
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": self._node,
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": self.ca,
            "ssl.principal.mapping.rules": "RULE:^CN=(.*?)$/$1/",
            "listener.name.mtls.ssl.client.auth": "required",
            "listener.name.sasl.sasl.enabled.mechanisms": ",".join(MECHANISMS),
            "listener.name.brief.sasl.enabled.mechanisms": ",".join(MECHANISMS),
            "listener.name.brief.connections.max.reauth.ms": BRIEF_MS,
            **modules,
        }

    def operator_settings(self) -> dict[str, object]:
        """The settings of the operator at the listener MTLS, as ``client_settings`` has them."""
        own = {"KAFKA_CERT": self.certificate_of_operator, "KAFKA_KEY": self.key_of_operator}
        return {**self.client_settings(MTLS), **own}

    def client_settings(self, how: str) -> dict[str, object]:
        """The settings of a worker or command, as names without ECOUNTERS_, but for the address of the listener.

        ``how``: one of MECHANISMS, or MTLS.
        """
        if how == MTLS:
            return {
                "KAFKA_PROTOCOL": "ssl", "KAFKA_CA": self.ca, "KAFKA_CERT": self.certificate, "KAFKA_KEY": self.key,
            }  # fmt: skip
        common = {"KAFKA_PROTOCOL": "sasl_ssl", "KAFKA_MECHANISM": how, "KAFKA_CA": self.ca}
        if how == "OAUTHBEARER":
            return {**common, "KAFKA_TOKEN_FILE": self.token}
        return {**common, "KAFKA_USER": WORKER, "KAFKA_PASSWORD": PASSWORD}


def unsecured_token(user: str) -> str:
    """A token that is not signed, as Kafka's validator for trials accepts one."""
    now_s = int(time.time())
    parts = ({"alg": "none"}, {"sub": user, "iat": now_s - 1, "exp": now_s + TOKEN_S})
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts) + "."
