"""The pipeline of shipslog.yaml in Python: the same document, from values an editor can complete.

`shipslog apply examples/web/pipeline.py` defines it; the environment stands in shipslog.yaml.
"""

from shipslog import BlueGreen, Check, Deploy, Health, HttpCheck, Pipeline, Retry, Rollout, Run

build = Run(
    name="build",
    run=["python", "-m", "compileall", "-q", "server.py"],
    timeout="60s",
    retry=Retry(attempts=2),
    idempotent=True,
)
SOURCE = "pathlib.Path('server.py').read_text()"

lint = Run(
    name="lint",
    run=["python", "-W", "error", "-c", f"import ast, pathlib; ast.parse({SOURCE})"],
    timeout="60s",
)
deploy = Deploy(
    name="deploy",
    needs=[build.name, lint.name],
    deploy=Rollout(
        command=["python", "server.py", "--port", "{port}", "--version", "{version}"],
        capacity=2,
        strategy=BlueGreen(monitor="5s", max_error_share="5%", min_requests=20),
        drain="10s",
        health=Health(
            checks=[HttpCheck(http="/healthz")], timeout="1s", interval="250ms", attempts=10
        ),
    ),
)
verify = Check(name="verify", needs=[deploy.name], check=[HttpCheck(http="/", expect=200)])

web = Pipeline(name="web", source=".", stages=[build, lint, deploy, verify])
