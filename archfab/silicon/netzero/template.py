"""A commented plan to start from: `archfab silicon plan --template PLAN.toml`."""

TEMPLATE = '''\
# A net-zero plan. Tonnes are CO2e; shares are written from 0 to 1 (0.4 for 40 %); money in one currency of one year.
name = "Example Ltd"
base_year = 2024
first_year = 2026           # the first year that can still be decided; the year after the base year if left out
last_year = 2045
currency = "USD"
discount_rate = 0.06
scope2 = "both"             # the figure that keeps the milestones: both, location or market; both are told
# correlation = 0.3         # how much the errors of the sources go together
# residual_value = false    # what still stands in the last year is then worth nothing
# cumulative_t = 200000     # the most that may be emitted over all years of the plan

# --- the inventory of the base year, source by source
# inventory = "inventory.json"  # or all of it from `archfab silicon inventory FILE --json`; its lines are then sources,
#                               # its year is the base year, and [[sources]] of the same names add growth and the like
[[sources]]
name = "heating"
scope = 1
t = 1200
uncertainty = 0.05          # half of the 95 % interval, as a share
growth = 0.01               # of the activity, per year, if nothing is done
growth_low = -0.01          # 95 % interval of the growth
growth_high = 0.03

[[sources]]
name = "electricity"
scope = 2
t = 5000                    # location-based: by the grid
market_t = 5600             # market-based: by the contracts; the same as t if left out
uncertainty = 0.05
growth = 0.03
growth_low = 0.01
growth_high = 0.05
intensity = -0.03           # the grid gets cleaner by itself, per year

[[sources]]
name = "purchased goods"
scope = 3
t = 9000
uncertainty = 0.25
growth = 0.02
growth_low = 0.0
growth_high = 0.04

# --- the aims
[[milestones]]
name = "halve"
year = 2032                 # from this year on, unless keep = false
cut = 0.5                   # of the base year's emissions; or t = 7900 for tonnes per year
scopes = [1, 2]             # all three if left out

# [[linear]]                # a straight line of yearly caps
# name = "near term"
# cut_per_year = 0.042      # of the base year's emissions, each year
# from = 2028
# to = 2032
# scopes = [1, 2]

[net_zero]
year = 2045
cut = 0.9                   # at least 0.9; more is possible, less is not
# permanence_years = 100    # what a removal has to last to neutralise anything; more is possible, less is not

# [spending]                # the most that may be spent in a year
# per_year = 1.5e6
# years = {2026 = 0.5e6}
# counts = "all"            # capital, running costs and removals less savings; or "capital"

# [carbon_price]            # paid, or reckoned inside, for what is still emitted
# per_t = 50
# growth = 0.03
# scopes = [1]

# --- what can be done
[[measures]]
name = "insulation"
acts_on = {heating = 0.35}  # the share that it takes of each source, where it is deployed
capital = 900e3             # once per lifetime, for full deployment at the base year's activity; or capital_per_t
running = -110e3            # per year; savings are negative; or running_per_t
start = 2026                # the first year in which money can be spent
lead = 1                    # years from the money to the effect
ramp = 0.2                  # share of full deployment that can be added in a year
lifetime = 30

[[measures]]
name = "heat pumps"
acts_on = {heating = 0.95}  # after insulation there is less left for them: measures on one part multiply
capital = 1.6e6
running = 40e3
ramp = 0.15
lifetime = 18
# requires = ["insulation"] # only where that is
# apart_from = ["biogas"]   # never on the same part of a source
# excludes = ["biogas"]     # never both in one plan
# whole = true              # all or nothing

[[measures]]
name = "efficient servers"
acts_on = {electricity = 0.3}
capital = 2.2e6
running = -420e3
ramp = 0.25
lifetime = 6
cost_change = -0.02         # of the capital, per year

[[measures]]
name = "solar roofs"
acts_on = ["electricity"]
potential_t = 800           # tonnes per year in place of a share: it takes them of what is left
capital_per_t = 1800
running_per_t = -160
ramp = 0.25
lifetime = 25

[[measures]]
name = "wind farm next door"    # its own line lowers both figures; a contract would lower the market-based one only
acts_on = {electricity = 0.9}
capital = 3e6
running = 60e3
start = 2029
lead = 2
lifetime = 25

[[measures]]
name = "certificates"
kind = "certificates"       # lowers the market-based figure only
acts_on = {electricity = 1.0}
running_per_t = 9
lifetime = 1

[[measures]]
name = "suppliers on clean power"
acts_on = {"purchased goods" = 0.6}
running_per_t = 35
ramp = 0.1
lifetime = 1

[[measures]]
name = "recycled materials"
acts_on = {"purchased goods" = 0.45}
capital = 1.2e6
running_per_t = 60
start = 2028
ramp = 0.1

[[measures]]
name = "redesign"
acts_on = {"purchased goods" = 0.6}
capital = 5e6
running_per_t = 90
start = 2030
ramp = 0.12

# --- what is left is neutralised by durable removals, from the year of net zero on
[[removals]]
name = "direct air capture"
permanence_years = 1000
cost_per_t = 600
limit_t = 2000              # per year
start = 2040
cost_change = -0.02

[[removals]]
name = "forest"
permanence_years = 40       # too short: it neutralises nothing
cost_per_t = 25
limit_t = 5000

# --- credits are told and paid for; they never count
[[offsets]]
name = "cook stoves"
t = 1000
cost_per_t = 8
'''
