from paipa_etl.runners._fill_python import Filling as Filling
from paipa_etl.runners._fill_python import fill as fill
