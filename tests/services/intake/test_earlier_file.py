"""The file of an earlier batch that has not changed: its rows are what reading the file again would store."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from imgsvc.adapters.sandbox.tables import open_tables
from imgsvc.bootstrap import Resources
from imgsvc.db.tables import Asset, Batch, Product
from imgsvc.domain.ids import new_id
from imgsvc.domain.manifest.columns import Columns
from imgsvc.domain.manifest.formats.convert import Conversion
from imgsvc.domain.manifest.read_csv import DEFAULT_LIMITS
from imgsvc.domain.manifest.rows_file import RowsFile
from imgsvc.services.intake.earlier_file import find_earlier, read_known_file
from imgsvc.services.intake.source import Source, catalogue_of, reading_of
from imgsvc.services.intake.submit import submit
from imgsvc.services.intake.upload import Upload
from imgsvc.services.ports import Validators
from support.catalogue_exports import EXPORTS
from support.workbooks import workbook
