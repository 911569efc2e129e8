"""Django's settings. Everything that differs between installations comes from `environment.py`."""

from __future__ import annotations

from csp.constants import NONE, SELF, UNSAFE_INLINE
from psycopg_pool.base import AttemptWithBackoff

from controlplane.connections import database_settings, mail_settings
from controlplane.console.theme import UNFOLD  # noqa: F401 - read by the admin's theme
from controlplane.environment import REPOSITORY, environment

ENVIRONMENT = environment()
BASE_DIR = REPOSITORY
DEBUG = ENVIRONMENT.debug
SECRET_KEY = ENVIRONMENT.secret_key.get_secret_value()
ALLOWED_HOSTS = list(ENVIRONMENT.allowed_hosts)
CSRF_TRUSTED_ORIGINS = list(ENVIRONMENT.trusted_origins)
ROOT_URLCONF = "controlplane.urls"
ASGI_APPLICATION = "controlplane.asgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = [
    "unfold",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "csp",
    "rest_framework",
    "drf_spectacular",
    "django_celery_beat",
    "controlplane.changes",
    "controlplane.tenancy",
    "controlplane.providers",
    "controlplane.keys",
    "controlplane.budgets",
    "controlplane.fleet",
    "controlplane.usage",
    "controlplane.alerts",
    "controlplane.rest",
    "controlplane.console",
]
MIDDLEWARE = [
    "controlplane.web.answers.Answers",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "controlplane.web.probes.Probes",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "controlplane" / "console" / "templates"],  # before the theme's own
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

# ---- Database ----
DATABASES = {"default": database_settings(ENVIRONMENT)}
# The pool looks for a lost PostgreSQL every second. Its own pauses double, up to minutes, while everybody who needs a
# connection waits for it: what was away for 20 s was used again 8 s after it was back.
AttemptWithBackoff.DELAY_BACKOFF = 1.0

# ---- Mail ----
globals().update(mail_settings(ENVIRONMENT.smtp_url.get_secret_value()))
DEFAULT_FROM_EMAIL = ENVIRONMENT.mail_from

# ---- Time and language ----
USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en-us"
USE_I18N = False

# ---- People ----
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.ScryptPasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
SESSION_ENGINE = "controlplane.web.sessions"
SESSION_COOKIE_AGE = 8 * 3600  # idle seconds: saved on every request
SESSION_SAVE_EVERY_REQUEST = True
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_SERIALIZER = "django.contrib.sessions.serializers.JSONSerializer"
CSRF_COOKIE_HTTPONLY = True
CSRF_COOKIE_SAMESITE = "Lax"
# Session storage leaves messages out of cookies, where they would outlive the page.
MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"
LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "admin:index"

# ---- The browser's rules ----
if ENVIRONMENT.https_on:
    SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = True
    SESSION_COOKIE_NAME, CSRF_COOKIE_NAME = "__Host-aigateway_session", "__Host-aigateway_csrf"
    SECURE_SSL_REDIRECT = True
    SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$"]
    SECURE_HSTS_SECONDS = 365 * 24 * 3600
    SECURE_HSTS_INCLUDE_SUBDOMAINS = True
    # Browsers' preload lists are for whole domains and hard to leave: their owner's decision, not this host's.
    SILENCED_SYSTEM_CHECKS = ["security.W021"]
else:
    SESSION_COOKIE_NAME, CSRF_COOKIE_NAME = "aigateway_session", "aigateway_csrf"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
# No inline script anywhere. The admin alone adds 'unsafe-eval', see console/site.py.
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF, UNSAFE_INLINE],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "form-action": [SELF],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
    }
}
DATA_UPLOAD_MAX_MEMORY_SIZE = 1024 * 1024  # bytes: no form or API body of ours is larger
DATA_UPLOAD_MAX_NUMBER_FIELDS = 2000
FILE_UPLOAD_HANDLERS = ["django.core.files.uploadhandler.MemoryFileUploadHandler"]

# ---- Static files ----
STATIC_URL = "/static/"
WHITENOISE_USE_FINDERS = True  # served from the packages: no collectstatic step

# ---- REST ----
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "controlplane.tenancy.authentication.TokenAuthentication",
        "controlplane.tenancy.authentication.LoginAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["controlplane.rest.caller.HasActor"],
    "DEFAULT_PAGINATION_CLASS": "controlplane.rest.paging.Pages",
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["controlplane.rest.parsers.Json"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_THROTTLE_CLASSES": ["controlplane.rest.pace.CallsPerCaller"],
    "EXCEPTION_HANDLER": "controlplane.rest.problems.explain",
    "URL_FORMAT_OVERRIDE": None,  # there is JSON alone, and `format` a parameter like any other that is not known
    "UNAUTHENTICATED_USER": None,
}
REST_VISIBLE_ROWS = "controlplane.tenancy.queries.for_actor"
SPECTACULAR_SETTINGS = {
    "TITLE": "AI Gateway",
    "DESCRIPTION": "The control plane: tenancy, virtual keys, providers, budgets, usage, alerts, fleet, audit.",
    "VERSION": "v1",
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SCHEMA_PATH_PREFIX": "/api/v1/",
    "COMPONENT_SPLIT_REQUEST": True,
    "ENUM_NAME_OVERRIDES": {
        "PrincipalKind": "controlplane.tenancy.models.PrincipalKind",
        "ProviderKind": "controlplane.providers.api.KINDS",
        "KeyState": "controlplane.keys.models.KeyState",
        "PodState": "controlplane.fleet.models.PodState",
        "RecordState": "controlplane.usage.models.RecordState",
        "ScopeKind": "controlplane.budgets.models.ScopeKind",
        "BudgetWindow": "controlplane.budgets.models.Window",
        "AlertRuleKind": "controlplane.alerts.models.RuleKind",
        "AlertRuleWindow": "controlplane.alerts.api.WINDOWS",
        "AlertChannelKind": "controlplane.alerts.models.ChannelKind",
        "AlertState": "controlplane.alerts.models.AlertState",
        "DeliveryState": "controlplane.alerts.models.DeliveryState",
    },
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "controlplane.rest.schema.add_problems",
    ],
}

# ---- Celery ----
CELERY_BROKER_URL = ENVIRONMENT.broker_url.get_secret_value()
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_SERIALIZER = "json"
CELERY_RESULT_SERIALIZER = "json"
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_TIME_LIMIT = 300  # seconds
CELERY_TASK_SOFT_TIME_LIMIT = 240
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_TRANSPORT_OPTIONS = {"socket_connect_timeout": 2, "socket_timeout": 5}
CELERY_TASK_PUBLISH_RETRY_POLICY = {"max_retries": 1, "interval_start": 0, "interval_step": 0.2, "interval_max": 0.2}
CELERY_TIMEZONE = "UTC"
CELERY_BEAT_SCHEDULER = "django_celery_beat.schedulers:DatabaseScheduler"
DJANGO_CELERY_BEAT_TZ_AWARE = True

# ---- Logs ----
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s %(request_id)s %(message)s"}},
    "filters": {"request_id": {"()": "controlplane.rest.request_ids.InLogs"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line", "filters": ["request_id"]}},
    "root": {"handlers": ["stderr"], "level": ENVIRONMENT.log_level.upper()},
    # Statements carry digests and sealed credentials as parameters.
    "loggers": {"django.db.backends": {"level": "INFO", "propagate": True}, "httpx": {"level": "WARNING"}},
}
