"""The view of a twin on the page at `/`: its state and telemetry as they change, and what would happen."""

import pytest
from playwright.async_api import BrowserContext, Page, expect

from tests.harness.hub_process import HubProcess
from tests.harness.rest_client import RestClient
from tests.harness.waiting import eventually
from tests.journeys.test_page import HOSTILE, hub, is_live, key, opened, organisation

__all__ = ["hub", "key", "organisation"]  # fixtures: one hub, as of the page's other tests

pytestmark = pytest.mark.browser

PUMP = {
    "name": "Pump 7",
    "type": "pump",
    "data": {"rpm": 900, "site": {"hall": "B"}},
    "desired": {"rpm": 1200},
    "reported": {"rpm": 900},
    "rules": [{"name": "too_hot", "metric": "temperature", "when": "above", "threshold": 80, "hysteresis": 5}],
}
CHAIN = {"name": "Supply Chain Twin", "type": "logistics"}


async def line_of(page: Page, metric: str) -> str:
    """Return the line that is drawn for a metric."""
    return await page.locator(f'[data-metric="{metric}"] path').get_attribute("d") or ""


async def test_state_telemetry_and_alerts_change_as_they_happen(browser: BrowserContext, hub: HubProcess, key: str):
    """What another client writes is seen without a reload: values, what is not as it shall be, alerts, lines that go on."""
    async with RestClient(hub.base_url, key) as client:
        made = await client.call("POST", "/v2/twins", PUMP)
        subject = f"/v2/twins/{made.body['id']}"
        await client.call("POST", f"{subject}/telemetry", {"points": [{"metric": "temperature", "value": 21.5}]})
        page = await opened(browser, hub, key)
        await page.get_by_role("button", name="Pump 7").click()
        twin = page.get_by_role("region", name="Pump 7")
        await expect(twin.get_by_role("row", name="site.hall")).to_contain_text("B")
        difference = twin.get_by_role("table", name="Not as it shall be")
        await expect(difference.get_by_role("row", name="rpm")).to_contain_text("1200")
        alert = twin.locator('[data-rule="too_hot"]')
        await expect(alert).to_contain_text("Clear")
        await expect(twin.locator('[data-metric="temperature"] .value')).to_have_text("21.5")

        await client.call("PATCH", subject, {"data": {"rpm": 1200}, "reported": {"rpm": 1200}})
        row = twin.get_by_role("table", name="State").get_by_role("row", name="rpm")
        await expect(row).to_contain_text("1200")
        await expect(difference).to_be_hidden()

        before = await line_of(page, "temperature")
        points = [{"metric": "temperature", "value": 85}, {"metric": "pressure", "value": 3.1}]
        await client.call("POST", f"{subject}/telemetry", {"points": points})
        await expect(twin.locator('[data-metric="temperature"] .value')).to_have_text("85")
        await expect(twin.locator('[data-metric="pressure"] .value')).to_have_text("3.1")
        await expect(twin.get_by_role("img", name="temperature, the last 5 minutes: 21.5 to 85")).to_be_visible()
        assert (await line_of(page, "temperature")).count("L") > before.count("L") >= 1
        await expect(alert).to_contain_text("Raised")

        # Time goes on, so the line moves though nothing comes.
        drawn = await line_of(page, "temperature")

        async def has_moved() -> bool:
            return await line_of(page, "temperature") != drawn

        await eventually(has_moved)
        await client.call("DELETE", subject)
        await expect(twin).to_be_hidden()


async def test_scenario_is_run_and_shows_what_it_came_to(browser: BrowserContext, hub: HubProcess, key: str):
    """A choice with its parameters; what is no JSON is told; then findings, intervals, and the drawing."""
    async with RestClient(hub.base_url, key) as client:
        await client.call("POST", "/v2/twins", CHAIN)
        page = await opened(browser, hub, key)
        await page.get_by_role("button", name=CHAIN["name"]).click()
        twin = page.get_by_role("region", name=CHAIN["name"])
        await twin.get_by_label("Scenario").select_option("policy_change")
        await twin.get_by_role("textbox", name="policy").fill("{")
        await twin.get_by_role("button", name="Simulate").click()
        await expect(twin.locator("#simulations-message")).to_have_text("policy is not JSON")

        await twin.get_by_label("Scenario").select_option("demand_spike")
        await twin.get_by_label("increase percentage").fill("40")
        await twin.get_by_label("Runs").fill("12")
        await twin.get_by_label("Seed").fill("42")
        await twin.get_by_role("button", name="Simulate").click()
        await expect(twin.locator("#simulation .status")).to_have_text("Completed")
        await expect(twin.locator("#findings li").first).not_to_be_empty()
        await twin.get_by_text("All indicators").click()
        await expect(twin.locator("#indicators tbody tr").first).to_contain_text("to")
        plot = twin.get_by_role("img", name="What demand spike changes")
        await expect(plot).to_be_visible()
        await expect(plot).to_have_js_property("naturalWidth", 760)
        listed = (await client.call("GET", "/v2/simulations")).body["data"]
    assert [(run["seed"], run["runs"], run["parameters"]["increase_percentage"]) for run in listed] == [(42, 12, 40)]


async def test_horizon_and_baseline_are_chosen_and_what_is_drawn(browser: BrowserContext, hub: HubProcess, key: str):
    """Of a run as long as was asked for, without its baseline, each series can be drawn; the first is what the hub would draw."""
    async with RestClient(hub.base_url, key) as client:
        await client.call("POST", "/v2/twins", CHAIN)
        page = await opened(browser, hub, key)
        await page.get_by_role("button", name=CHAIN["name"]).click()
        twin = page.get_by_role("region", name=CHAIN["name"])
        await twin.get_by_label("Scenario").select_option("demand_spike")
        await expect(twin.get_by_label("Baseline beside it")).to_be_checked()
        await twin.get_by_label("Baseline beside it").uncheck()
        await twin.get_by_label("Horizon").fill("90.5")
        await twin.get_by_label("Runs").fill("5")
        await twin.get_by_role("button", name="Simulate").click()
        await expect(twin.locator("#simulation .status")).to_have_text("Completed")
        (listed,) = (await client.call("GET", "/v2/simulations")).body["data"]
        whole = (await client.call("GET", f"/v2/simulations/{listed['id']}")).body
        names = list(whole["series"]["indicators"])
        drawn = twin.get_by_label("Drawn")
        await expect(drawn.locator("option")).to_have_count(len(names))
        plot = twin.locator("#plot img")
        await expect(plot).to_be_visible()
        before = await plot.get_attribute("src")
        last = names[-1] if names[-1] != whole["series"]["main"] else names[0]
        await drawn.select_option(last)
        await expect(twin.get_by_role("img", name=last.replace("_", " "))).to_be_visible()
        assert await plot.get_attribute("src") != before
    assert (whole["horizon"], whole["baseline"], whole["runs"]) == (90.5, None, 5)


async def test_run_is_found_again_after_a_reload_and_cancelled(browser: BrowserContext, hub: HubProcess, key: str):
    """Progress is seen as it is made; a reload in the midst of it finds the twin and the run, which is cancelled then."""
    async with RestClient(hub.base_url, key) as client:
        made = await client.call("POST", "/v2/twins", CHAIN)
        page = await opened(browser, hub, key)
        await page.get_by_role("button", name=CHAIN["name"]).click()
        wanted = {"scenario": "demand_spike", "runs": 1000, "horizon": 50_000, "deadline": 600}
        asked = f"/v2/twins/{made.body['id']}/simulate"
        await client.call("POST", asked, wanted, Prefer="respond-async")  # by another client: it is seen here too
        for _ in range(2):
            await expect(page.locator("#simulation .status")).to_have_text("Running")
            await expect(page.get_by_label("Progress")).not_to_have_js_property("value", 0)
            await page.reload()
            await is_live(page)
        await page.locator("#simulation").get_by_role("button", name="Cancel").click()
        await expect(page.locator("#simulation .status")).to_have_text("Cancelled")
        await page.locator("#twin").get_by_role("button", name="Close").click()
        await page.reload()
        await is_live(page)
        await expect(page.locator("#twin")).to_be_hidden()


async def test_twin_that_holds_markup_stays_text(browser: BrowserContext, hub: HubProcess, key: str):
    """Whoever may write a twin may not run anything in the pages of those who look at it."""
    scenario = {"description": HOSTILE, "changes": [{"node": "customers", "what": "demand", "factor": 2}]}
    hostile = {**CHAIN, "name": HOSTILE, "data": {HOSTILE: HOSTILE}, "desired": {HOSTILE: HOSTILE}}
    async with RestClient(hub.base_url, key) as client:
        made = await client.call("POST", "/v2/twins", {**hostile, "scenarios": {"mine": scenario}})
        assert made.status == 201, made.body
        page = await opened(browser, hub, key)
        await page.locator("#twins li button").click()
        await expect(page.locator("#twin-difference tbody tr")).to_have_count(1)
        await expect(page.locator("#twin-data tbody th")).to_have_text(HOSTILE)
        await page.get_by_label("Scenario").select_option("mine")
        await expect(page.locator("#scenario-says")).to_have_text(HOSTILE)
    assert await page.locator("#twin script, #twin img").count() == 0
    assert await page.evaluate("window.ran") is None
