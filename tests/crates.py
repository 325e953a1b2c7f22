"""Run by the Python that has rocrate-validator: validates crates without the internet.

crates.py FOLDER…   says what is wrong, a line each: folder, severity, check, message
"""

import pathlib
import sys

import requests
import rocrate
from rocrate_validator import services
from rocrate_validator.models import Severity, ValidationSettings

#: The validator fetches the context of RO-Crate 1.1; ro-crate-py has that of a later version, with the same terms, as a file.
CONTEXT = (pathlib.Path(rocrate.__file__).parent / "data" / "ro-crate.jsonld").read_bytes()


def answer(self, method, url, **options):
    assert url == "https://w3id.org/ro/crate/1.1/context", f"{method} {url}"
    response = requests.Response()
    response.status_code, response._content, response.url = 200, CONTEXT, url
    response.headers["Content-Type"] = "application/ld+json"
    return response


requests.Session.request = answer
for folder in sys.argv[1:]:
    settings = ValidationSettings(
        rocrate_uri=folder, profile_identifier="ro-crate-1.1", requirement_severity=Severity.RECOMMENDED, no_cache=True)
    result = services.validate(settings)
    assert len(result.executed_checks) > 50
    for issue in result.get_issues():
        print(f"{folder}\t{issue.severity.name}\t{issue.check.identifier}\t{issue.message}")
