#!/usr/bin/env python3
"""A real authorization server (PyPI django-oauth-toolkit) on a free loopback port, for the tests.

    python server.py [--access-ttl SECONDS] [--no-reuse-protection]

Prints `READY <issuer>` once it listens, and ends when its standard input does, so that a test that dies leaves
nothing behind; everything is in memory. Its issuer has a path. Its public client is `tokensink` (PKCE, loopback
redirects on any port), `tokensink-device` for device codes; its person is alice. Beside the protocol:
GET /__counters.
"""

import argparse
import collections
import json
import os
import sys
import threading
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

parser = argparse.ArgumentParser()
parser.add_argument("--access-ttl", type=int, default=60)
parser.add_argument("--no-reuse-protection", action="store_true")
arguments = parser.parse_args()


class Quiet(WSGIRequestHandler):
    def log_message(self, *_):
        pass


# The issuer's name holds its port, so listen first and set the server up afterwards.
server = WSGIServer(("127.0.0.1", 0), Quiet)
base = f"http://127.0.0.1:{server.server_port}"
issuer = f"{base}/o"

signing_key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
)

LOGIN_PAGE = """<form method=post>{% csrf_token %}{{ form.as_p }}{{ form.errors }}
<input type=hidden name=next value='{{ next }}'><button type=submit>Log in</button></form>"""

APPS = ["auth", "contenttypes", "sessions", "messages"]

from django.conf import settings  # noqa: E402

settings.configure(
    SECRET_KEY="loopback-test-only",
    ALLOWED_HOSTS=["127.0.0.1", "localhost"],
    ROOT_URLCONF=__name__,
    USE_TZ=True,
    LOGIN_URL="/login/",
    LOGGING_CONFIG=None,
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    # The tables are made from the models; their history is of no interest here.
    MIGRATION_MODULES={**{app: None for app in APPS}, "oauth2_provider": None},
    INSTALLED_APPS=[*(f"django.contrib.{app}" for app in APPS), "oauth2_provider"],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
    ],
    TEMPLATES=[{
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
            ],
            "loaders": [
                ("django.template.loaders.locmem.Loader", {"registration/login.html": LOGIN_PAGE}),
                "django.template.loaders.app_directories.Loader",
            ],
        },
    }],
    OAUTH2_PROVIDER={
        "OIDC_ENABLED": True,
        "OIDC_RSA_PRIVATE_KEY": signing_key.decode(),
        "OIDC_ISS_ENDPOINT": issuer,
        "PKCE_REQUIRED": True,
        "SCOPES": {"openid": "OpenID", "profile": "Profile", "email": "E-mail", "offline_access": "Stay logged in"},
        "DEFAULT_SCOPES": ["openid"],
        "ACCESS_TOKEN_EXPIRE_SECONDS": arguments.access_ttl,
        "REFRESH_TOKEN_EXPIRE_SECONDS": 86400,
        "ROTATE_REFRESH_TOKEN": True,
        "REFRESH_TOKEN_REUSE_PROTECTION": not arguments.no_reuse_protection,
        "REFRESH_TOKEN_GRACE_PERIOD_SECONDS": 0,
        "ALLOW_LOCALHOST_LOOPBACK": True,
        "DEVICE_FLOW_INTERVAL": 1,
        "OAUTH_DEVICE_VERIFICATION_URI": f"{base}/o/device/",
        "OAUTH_DEVICE_VERIFICATION_URI_COMPLETE": base + "/o/device/?user_code={user_code}",
        "COMPLIANT_BCP_RFC9700_PKCE_METHOD": True,
        "COMPLIANT_BCP_RFC9700_AUTHZ_RESPONSE_ISS": True,
        "OAUTH2_TOKEN_ENDPOINT_AUTH_METHODS_SUPPORTED": ["client_secret_post", "client_secret_basic", "none"],
    },
)

import django  # noqa: E402

django.setup()

from django.contrib.auth.models import User  # noqa: E402
from django.contrib.auth.views import LoginView  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.urls import include, path  # noqa: E402
from oauth2_provider.models import Application  # noqa: E402
from oauth2_provider.urls import metadata_urlpatterns  # noqa: E402

urlpatterns = [
    path("login/", LoginView.as_view()),
    path("o/", include("oauth2_provider.urls")),
    path("", include((metadata_urlpatterns, "metadata"))),
]

call_command("migrate", run_syncdb=True, verbosity=0)
User.objects.create_user("alice", password="alice-pass-1", email="alice@example.test")
public = {"client_type": "public", "algorithm": "RS256", "skip_authorization": False}
Application.objects.create(
    client_id="tokensink",
    name="tokensink",
    authorization_grant_type="authorization-code",
    redirect_uris="http://127.0.0.1/auth/callback",
    **public,
)
Application.objects.create(
    client_id="tokensink-device",
    name="tokensink-device",
    authorization_grant_type="urn:ietf:params:oauth:grant-type:device_code",
    **public,
)

counters = collections.Counter()
protocol = get_wsgi_application()


def counted(environ, start_response):
    if environ["PATH_INFO"] == "/__counters":
        start_response("200 OK", [("Content-Type", "application/json")])
        return [json.dumps(counters).encode()]
    request = f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}"

    def start(status, headers, *more):
        counters[f"{request} {status[:3]}"] += 1
        return start_response(status, headers, *more)

    return protocol(environ, start)


def end_with_input():
    sys.stdin.buffer.read()
    os._exit(0)


threading.Thread(target=end_with_input, daemon=True).start()
server.set_app(counted)
print(f"READY {issuer}", flush=True)
# One request at a time, in one thread: the database is this thread's memory.
server.serve_forever()
