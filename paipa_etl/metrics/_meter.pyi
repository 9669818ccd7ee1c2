from paipa_etl.metrics._meter_python import Account as Account
from paipa_etl.metrics._meter_python import Probe as Probe
from paipa_etl.metrics._meter_python import Strand as Strand
from paipa_etl.metrics._meter_python import Tally as Tally
from paipa_etl.metrics._meter_python import bucket_of as bucket_of
from paipa_etl.metrics._meter_python import peek as peek
from paipa_etl.metrics._meter_python import peek_open as peek_open
from paipa_etl.metrics._meter_python import probed_call as probed_call
